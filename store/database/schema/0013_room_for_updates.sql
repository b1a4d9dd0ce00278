-- Each transaction changes a row of each symbol that traded. With room beside it on its page the new row stays there and
-- needs no new place in the table's index; what is old goes when the page is read again, not only when vacuum comes.
ALTER TABLE coverage SET (fillfactor = 50);
ALTER TABLE ledger_totals SET (fillfactor = 50);
ALTER TABLE candles_closed SET (fillfactor = 50);
