# beam_id batch_id sample_id integration_step compacted_integration_steps time DM_id DM compacted_DMs SNR
0 1 0 4 2 2.1000 700 352.00 10 40.00
0 1 0 4 2 2.0980 699 351.60 10 28.00
