-- People, refresh tokens and API keys: lessons 01 to 07.
CREATE TABLE users (
    username text NOT NULL PRIMARY KEY CHECK (username = lower(username)),
    email text,
    full_name text,
    disabled bigint NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    role text NOT NULL,
    scopes text NOT NULL,
    security_stamp text NOT NULL,
    hashed_password text NOT NULL
);

CREATE TABLE refresh_tokens (
    digest text NOT NULL PRIMARY KEY,
    family text NOT NULL,
    username text NOT NULL,
    stamp text NOT NULL,
    scopes text NOT NULL,
    expires_at bigint NOT NULL,
    spent bigint NOT NULL DEFAULT 0 CHECK (spent IN (0, 1))
);
CREATE INDEX refresh_tokens_by_end ON refresh_tokens (expires_at);

CREATE TABLE revoked_families (
    family text NOT NULL PRIMARY KEY,
    expires_at bigint NOT NULL
);
CREATE INDEX revoked_families_by_end ON revoked_families (expires_at);

CREATE TABLE api_keys (
    digest text NOT NULL PRIMARY KEY,
    id text NOT NULL UNIQUE,
    number bigint NOT NULL,
    prefix text NOT NULL,
    name text NOT NULL,
    owner text NOT NULL,
    stamp text NOT NULL,
    scopes text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX api_keys_by_owner ON api_keys (owner, number);
CREATE INDEX api_keys_by_end ON api_keys (expires_at);
