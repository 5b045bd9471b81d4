"""The payment service: what it is asked, who decides, and who talks to the card provider."""

from libs.contracts.payment import ProcessPayment, RefundPayment
from libs.service.service import Service, on_message
from payment import api, card_http, domain, store
from payment.card_desk import CardDesk
from payment.domain import Books, ProviderAnswered
from payment.settings import PaymentSettings


def compose(desk: CardDesk) -> Service[Books]:
    """The service with this desk to talk to the card provider."""
    return Service(
        name="payment",
        load=store.load,
        save=store.save,
        routes=[
            on_message(ProcessPayment, domain.process),
            on_message(RefundPayment, domain.refund),
            on_message(ProviderAnswered, domain.settle),
        ],
        api=api.router,
        workers=[desk.run],
        settings=PaymentSettings,
        committed=desk.note,
    )


service = compose(CardDesk(card_http.connect))
