"""The compensation pool: splits revenue by the agreement's rules, keeps double-entry books; it never sees learning."""
