-- Ids whose trades retention has removed: the ledger still accounts for them, as the lowest hole of their symbol.
ALTER TABLE holes
    DROP CONSTRAINT holes_state_check,
    ADD CONSTRAINT holes_state_check CHECK (state IN ('OPEN', 'FILLED', 'ABSENT', 'EXPIRED'));
COMMENT ON TABLE holes IS 'Ranges of trade ids that are missing (OPEN, ABSENT), were (FILLED), or were removed (EXPIRED)';
