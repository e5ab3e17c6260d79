"""What stages share once torch is imported: TRL behind one bridge, the loop, resume points, teachers, losses."""
