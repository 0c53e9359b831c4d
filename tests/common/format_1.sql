-- Turns a ledger of format 2 into a ledger of format 1, which has no replay. Replayed records become ordinary loaded
-- records, and discarded records become open.
ALTER TABLE _needledrop_deliveries DROP COLUMN replayed;
ALTER TABLE _needledrop_deliveries DROP COLUMN discarded;
DELETE FROM _needledrop_quarantine WHERE state = 'replayed';
ALTER TABLE _needledrop_quarantine DROP COLUMN state;
DROP TABLE _needledrop_headers;
UPDATE _needledrop_meta SET value = '1' WHERE key = 'format';
