import type { CDPSession, Page } from 'playwright-core';

/** Chromium's virtual authenticator, by the session that made it. */
export type Device = { cdp: CDPSession; authenticatorId: string };

/** A device with a screen lock, whose person answers each question at once. */
export async function addDevice(page: Page): Promise<Device> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return { cdp, authenticatorId };
}
