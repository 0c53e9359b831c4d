-- Makes a ledger of the first version of one of now.
ALTER TABLE _needledrop_deliveries DROP COLUMN assumed;
ALTER TABLE _needledrop_deliveries DROP COLUMN replayed;
ALTER TABLE _needledrop_deliveries DROP COLUMN discarded;
ALTER TABLE _needledrop_quarantine DROP COLUMN state;
DROP TABLE _needledrop_headers;
UPDATE _needledrop_meta SET value = '1' WHERE key = 'format';
