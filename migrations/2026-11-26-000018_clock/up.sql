-- A server whose clock has jumped would post on a wrong day, and what is posted stays. Every write therefore says what
-- time its server thinks it is, with the statement that names its company.
CREATE FUNCTION check_clock(told timestamptz) RETURNS void LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
  IF abs(extract(epoch FROM clock_timestamp() - told)) > 300 THEN
    RAISE EXCEPTION 'the clocks of server and database differ by % s',
      round(extract(epoch FROM told - clock_timestamp()));
  END IF;
END $$;
REVOKE ALL ON FUNCTION check_clock(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION check_clock(timestamptz) TO encours_app;
