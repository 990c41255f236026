"""Fine-tuning: trainings, losses, schedules, batches."""
