DROP TABLE api_keys;
DROP TABLE revoked_families;
DROP TABLE refresh_tokens;
DROP TABLE users;
