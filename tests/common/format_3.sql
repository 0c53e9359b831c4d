-- Turns a ledger of format 4, in which no delivery ends with an open tail, into a ledger of format 3.
ALTER TABLE _needledrop_deliveries RENAME COLUMN tail_bytes TO provisional_bytes;
ALTER TABLE _needledrop_deliveries RENAME COLUMN tail_record TO provisional_record;
ALTER TABLE _needledrop_deliveries RENAME COLUMN tail_line TO provisional_line;
ALTER TABLE _needledrop_deliveries ADD COLUMN provisional_hash TEXT;
ALTER TABLE _needledrop_deliveries ADD COLUMN provisional_outcome TEXT;
ALTER TABLE _needledrop_deliveries DROP COLUMN strikes;
ALTER TABLE _needledrop_deliveries DROP COLUMN parts;
CREATE TABLE _needledrop_provisional (
  delivery INTEGER NOT NULL, table_name TEXT NOT NULL, key TEXT NOT NULL, stamp INTEGER NOT NULL,
  columns TEXT NOT NULL, PRIMARY KEY (delivery, table_name)) WITHOUT ROWID;
CREATE INDEX _needledrop_provisional_on ON _needledrop_provisional (table_name, key);
CREATE TABLE _needledrop_shadows (
  table_name TEXT NOT NULL, key TEXT NOT NULL, row TEXT,
  PRIMARY KEY (table_name, key)) WITHOUT ROWID;
UPDATE _needledrop_meta SET value = '3' WHERE key = 'format';
