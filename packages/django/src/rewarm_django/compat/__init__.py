"""Names and signatures of other libraries, on Rewarm."""
