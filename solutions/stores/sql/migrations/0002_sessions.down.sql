DROP TABLE identities;
DROP TABLE flows;
DROP TABLE sessions;
ALTER TABLE users DROP COLUMN has_password;
ALTER TABLE users DROP COLUMN account_id;
