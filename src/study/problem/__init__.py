"""What is repaired, as an approach sees it: the problem, its task, the recipe, the faulty model, predictions."""
