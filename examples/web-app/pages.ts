/** Chapter 6: the library's own pages, which is what all this was for. */
import type { Request, Response } from 'express';
import { askUserinfo } from './refresh.ts';
import { findSession, type Session } from './session.ts';

/** `GET /` */
export function showHome(req: Request, res: Response): void {
  res.render('home', { session: findSession(req) });
}

/** `GET /profile`: what the ID token said at sign-in, and what userinfo says now. */
export async function showProfile(_req: Request, res: Response, session: Session): Promise<void> {
  const userinfo = await askUserinfo(session);
  res.render('profile', { session, userinfo });
}

/** `GET /history` */
export function showHistory(_req: Request, res: Response, session: Session): void {
  const loans = [
    { title: 'A Field Guide to Ferns', due: 'due back in six days' },
    { title: 'The Locksmith’s Daughter', due: 'returned in spring' },
    { title: 'Letters from the Night Train', due: 'returned last winter' },
  ];
  res.render('history', { session, loans });
}

/** `GET /card` */
export function showCard(_req: Request, res: Response, session: Session): void {
  res.render('card', { session, number: session.sub.slice(-8).toUpperCase() });
}
