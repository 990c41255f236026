"""The structure of a network, its activations, and places in it that can be patched."""
