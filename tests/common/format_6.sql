-- Turns a ledger of format 8 into a ledger of format 6, if it has no files of named feeds and no undone deliveries. The
-- index of contents keeps the condition of format 8.
UPDATE _needledrop_meta SET value = '6' WHERE key = 'format';
