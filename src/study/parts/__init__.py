"""What approaches are made of, by role; nothing here knows an approach."""
