"""Files written atomically, where they lie, and models stored without pickle."""
