"""How it is repaired: one file per approach."""
