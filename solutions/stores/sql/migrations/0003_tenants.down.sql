DROP TABLE tenant_keys;
DROP TABLE invitations;
DROP TABLE items;
DROP TABLE memberships;
DROP TABLE tenants;
