-- Turns a ledger of format 7 without named feeds into a ledger of format 6. Only format 7 has files of named feeds.
UPDATE _needledrop_meta SET value = '6' WHERE key = 'format';
