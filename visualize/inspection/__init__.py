"""Views that know more: measurements of a real run, where a NaN began, findings, differences."""
