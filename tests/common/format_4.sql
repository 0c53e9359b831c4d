-- Makes a ledger of format 5 one of format 4, which finds deliveries by their head and path only.
DROP INDEX _needledrop_contents;
DROP INDEX _needledrop_unfinished;
DROP INDEX _needledrop_unsettled;
DROP INDEX _needledrop_failed;
CREATE INDEX _needledrop_heads ON _needledrop_deliveries (head);
UPDATE _needledrop_meta SET value = '4' WHERE key = 'format';
