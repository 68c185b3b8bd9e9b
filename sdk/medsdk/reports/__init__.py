"""One report for every command that proves something: JSON, one page, JUnit XML."""
