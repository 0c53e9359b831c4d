-- Turns a ledger of format 10 into a ledger of format 6, if it has no files of named feeds and no undone deliveries. The
-- index of contents keeps the condition of format 8.
ALTER TABLE _needledrop_counts DROP COLUMN older;
ALTER TABLE _needledrop_deliveries DROP COLUMN replacement;
ALTER TABLE _needledrop_deliveries DROP COLUMN mirrored_by;
UPDATE _needledrop_meta SET value = '6' WHERE key = 'format';
