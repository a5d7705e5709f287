-- Browsers: sessions, logins at providers, and who somebody is there: lessons 08 and 09.
-- The new columns have defaults, so that code which does not know them goes on beside this.
ALTER TABLE users ADD COLUMN account_id text NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN has_password bigint NOT NULL DEFAULT 1;

CREATE TABLE sessions (
    digest text NOT NULL PRIMARY KEY,
    id text NOT NULL UNIQUE,
    number bigint NOT NULL,
    csrf_token text NOT NULL,
    username text NOT NULL,
    stamp text NOT NULL,
    user_agent text NOT NULL,
    created_at bigint NOT NULL,
    last_seen bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX sessions_by_owner ON sessions (username, number);
CREATE INDEX sessions_by_end ON sessions (expires_at);

CREATE TABLE flows (
    session text NOT NULL,
    state text NOT NULL,
    number bigint NOT NULL,
    provider text NOT NULL,
    nonce text NOT NULL,
    verifier text NOT NULL,
    next text NOT NULL,
    link_to text NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (session, state)
);
CREATE INDEX flows_by_number ON flows (number);
CREATE INDEX flows_by_end ON flows (expires_at);

CREATE TABLE identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    number bigint NOT NULL,
    username text NOT NULL,
    account_id text NOT NULL,
    label text NOT NULL,
    linked_at bigint NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX identities_by_account ON identities (account_id, number);
