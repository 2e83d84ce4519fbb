print("penstock-emulator")
