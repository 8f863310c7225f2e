DROP INDEX clients_by_name_fr;
CREATE INDEX clients_by_name ON clients (company_id, name, id);
DROP COLLATION french;
