"""What is repaired: data, architectures, the faulty model, and the view of them that an approach gets."""
