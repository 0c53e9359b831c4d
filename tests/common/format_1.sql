-- Makes a ledger of format 2 one of format 1, which had no replay: what was replayed was loaded at once, and what was
-- discarded is open.
ALTER TABLE _needledrop_deliveries DROP COLUMN replayed;
ALTER TABLE _needledrop_deliveries DROP COLUMN discarded;
DELETE FROM _needledrop_quarantine WHERE state = 'replayed';
ALTER TABLE _needledrop_quarantine DROP COLUMN state;
DROP TABLE _needledrop_headers;
UPDATE _needledrop_meta SET value = '1' WHERE key = 'format';
