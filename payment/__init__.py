"""The payment service: wallets, cards, and what orders are paid with."""
