-- The second wall. What a transaction has said with set_config decides which rows it sees and writes:
-- none where it has said nothing. FORCE: also for the owner of the tables, which the app mostly is. A
-- superuser, and a role with BYPASSRLS, sees all the same: the app must be neither.
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON tenants USING (tenant = current_setting('app.tenant', true));

ALTER TABLE memberships ENABLE ROW LEVEL SECURITY;
ALTER TABLE memberships FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON memberships USING (tenant = current_setting('app.tenant', true));

ALTER TABLE items ENABLE ROW LEVEL SECURITY;
ALTER TABLE items FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON items USING (tenant = current_setting('app.tenant', true));

ALTER TABLE invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE invitations FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON invitations USING (tenant = current_setting('app.tenant', true));

ALTER TABLE tenant_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON tenant_keys USING (tenant = current_setting('app.tenant', true));

-- Which tenants somebody is in is the one question that goes across them.
CREATE POLICY of_the_person ON memberships FOR SELECT
    USING (account_id = current_setting('app.account', true));
CREATE POLICY of_the_person ON tenants FOR SELECT
    USING (tenant IN (SELECT memberships.tenant FROM memberships
        WHERE memberships.account_id = current_setting('app.account', true)));
