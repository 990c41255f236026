"""What the README says about speed and repair, measured."""
