-- It looks into another table, which else could not go.
DROP POLICY of_the_person ON tenants;
