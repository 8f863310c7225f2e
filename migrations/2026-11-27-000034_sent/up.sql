-- What a reminder claims is computed anew when it is sent (R7.6), and its line says what was sent.
GRANT UPDATE (claimed, items) ON dunning_run_lines TO encours_app;
