-- Turns a ledger of format 5 into a ledger of format 4, which finds deliveries only by head and path.
DROP INDEX _needledrop_contents;
DROP INDEX _needledrop_unfinished;
DROP INDEX _needledrop_unsettled;
DROP INDEX _needledrop_failed;
CREATE INDEX _needledrop_heads ON _needledrop_deliveries (head);
UPDATE _needledrop_meta SET value = '4' WHERE key = 'format';
