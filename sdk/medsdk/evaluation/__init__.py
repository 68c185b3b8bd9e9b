"""Candidates on labelled cases: what each said, kept so that it can be compared later."""
