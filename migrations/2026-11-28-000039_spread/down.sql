-- The other functions stay: they write what those before them wrote.
DROP FUNCTION plan_once();
