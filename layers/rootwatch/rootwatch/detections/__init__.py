"""Step 2, what it means: one module per theme, one small function per detection, one catalogue."""
