-- What the applications keep; all five have the same tables.
CREATE TABLE IF NOT EXISTS users (nick TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- receipts go by their order
  room TEXT NOT NULL, nick TEXT NOT NULL, text TEXT NOT NULL,
  key TEXT NOT NULL,                    -- the page's name for it
  at INTEGER NOT NULL,                  -- Unix ms
  UNIQUE (nick, key)                    -- one that is sent again is the same
);
CREATE INDEX IF NOT EXISTS messages_of_room ON messages (room, id);
CREATE TABLE IF NOT EXISTS receipts (room TEXT, nick TEXT, id INTEGER NOT NULL, PRIMARY KEY (room, nick));
