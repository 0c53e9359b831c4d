-- Turns a ledger of format 3 into a ledger of format 2.
ALTER TABLE _needledrop_deliveries DROP COLUMN assumed;
UPDATE _needledrop_meta SET value = '2' WHERE key = 'format';
