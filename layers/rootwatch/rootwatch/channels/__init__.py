"""Step 6, how people are told: per channel a pure renderer and a sender."""
