-- Names are sorted and searched as French readers expect, whatever the server's own locale: É beside E,
-- capitals and small letters alike. Servers without ICU fall back on their default.
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') THEN
    CREATE COLLATION french (provider = icu, locale = 'fr');
  ELSE
    CREATE COLLATION french FROM "default";
  END IF;
END
$$;
DROP INDEX clients_by_name;
CREATE INDEX clients_by_name_fr ON clients (company_id, name COLLATE french, id);
