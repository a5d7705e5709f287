-- Tenants, and what belongs to them: lesson 13. Every row says whose it is, also in its key.
CREATE TABLE tenants (
    tenant text NOT NULL PRIMARY KEY CHECK (tenant <> ''),
    number bigint NOT NULL,
    name text NOT NULL
);

CREATE TABLE memberships (
    tenant text NOT NULL REFERENCES tenants (tenant),
    account_id text NOT NULL CHECK (account_id <> ''),
    number bigint NOT NULL,
    username text NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    PRIMARY KEY (tenant, account_id)
);
CREATE INDEX memberships_by_account ON memberships (account_id);

CREATE TABLE items (
    tenant text NOT NULL REFERENCES tenants (tenant),
    id text NOT NULL,
    number bigint NOT NULL,
    title text NOT NULL,
    done bigint NOT NULL DEFAULT 0 CHECK (done IN (0, 1)),
    made_by text NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX items_by_number ON items (tenant, number, id);

CREATE TABLE invitations (
    tenant text NOT NULL REFERENCES tenants (tenant),
    digest text NOT NULL,
    id text NOT NULL,
    number bigint NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    invited_by text NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (tenant, digest)
);

CREATE TABLE tenant_keys (
    tenant text NOT NULL REFERENCES tenants (tenant),
    digest text NOT NULL,
    id text NOT NULL,
    number bigint NOT NULL,
    prefix text NOT NULL,
    name text NOT NULL,
    account_id text NOT NULL,
    username text NOT NULL,
    stamp text NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    PRIMARY KEY (tenant, digest)
);
