"""Distorted, mixed and styled images."""
