"""What customers do with their wallets by themselves."""

from uuid import UUID

from libs.contracts.values import Money, UserId
from payment.domain.books import DEPOSITS, Books, Wallet, wallet_account


def deposit(books: Books, user_id: UserId, amount: Money, transaction_id: UUID) -> Wallet:
    """Put money into the wallet, in its currency; gives the wallet with it."""
    wallet = books.wallet(user_id).plus(amount.amount_minor)
    if amount.currency != wallet.balance.currency:
        raise ValueError(f"the wallet is in {wallet.balance.currency}, the deposit in {amount.currency}")
    books.wallets.put(user_id, wallet)
    books.move(
        "deposit",
        amount,
        source=DEPOSITS,
        target=wallet_account(user_id),
        transaction_id=transaction_id,
    )
    return wallet
