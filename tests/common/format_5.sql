-- Turns a ledger of format 6 into a ledger of format 5, which does not count what lenient settings did.
ALTER TABLE _needledrop_deliveries DROP COLUMN lenient;
UPDATE _needledrop_meta SET value = '5' WHERE key = 'format';
