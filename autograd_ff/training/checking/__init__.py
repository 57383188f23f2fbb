"""What `training.checks` is made of: one file for what each check looks at."""
