"""Everything that is decided about one contact's codes: what is asked (order), decided (decisions, verdicts), written (ledger)."""
